"""The nightly evaluation of Harbor."""
