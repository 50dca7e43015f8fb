"""Adversarial training: GAN losses, penalties, differentiable augmentation."""
