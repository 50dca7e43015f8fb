"""Networks: U-Nets and supernets, GAN generators, discriminators, elastic layers, classifiers."""
