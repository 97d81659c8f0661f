"""Groups the network's errors by how they look: an atlas of false findings and missed lesions."""
