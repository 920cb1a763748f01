"""What `cmlp.estimators` is made of."""
