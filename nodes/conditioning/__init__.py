"""Encoders: whatever a picture is to be made from becomes a `Conditioning`."""
