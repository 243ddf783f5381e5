"""The loop: noise, schedules, the UNet, guidance and the steps of a scheduler."""
