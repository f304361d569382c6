"""Training ViT-FIQA: losses, data, augmentation, distillation, loop, checkpoints. Without Beam."""
