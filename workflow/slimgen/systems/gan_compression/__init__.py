"""GAN Compression (Li et al. 2020): compact conditional generators, distilled and searched."""
