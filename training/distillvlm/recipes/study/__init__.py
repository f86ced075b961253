"""The study: what distillation, adaptation and each loss are worth, on generated scenes."""
