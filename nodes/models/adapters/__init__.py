"""Changes to a model part (LoRA, adapters, new words) as values."""
