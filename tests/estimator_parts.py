"""What the tests of the estimators share."""


def difference(a, b):
    """The largest difference between the weights of two estimators."""
    pairs = zip(a.coefs_ + a.intercepts_, b.coefs_ + b.intercepts_, strict=True)
    return max(abs(p - q).max() for p, q in pairs)
