"""What `cmlp.models` is made of."""
