"""geomlab: the geometry of a trained network under clean, adversarial and shifted inputs."""
