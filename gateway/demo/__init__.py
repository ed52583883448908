"""`setpoint demo`: a real gateway under a real spike, with the loop off and with it on."""
