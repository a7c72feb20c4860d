"""Feature geometry: extraction, similarity of representations, shape of the manifold."""
