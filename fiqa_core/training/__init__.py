"""Training ViT-FIQA: losses, data, augmentation, distillation, loop, checkpoints. Knows no Beam."""
