"""Workers: processes that run jobs on a device, and the supervisor that keeps them alive."""
