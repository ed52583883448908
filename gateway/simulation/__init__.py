"""What `setpoint simulate` and `setpoint demo` are made of: traffic, bounds, rivals, and the report."""
