"""Networks: the U-Net, its searched subclass, classifiers, discriminators."""
