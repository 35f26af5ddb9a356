"""What is measured, one module each; every module has `measure(plan) -> Outcome`."""
