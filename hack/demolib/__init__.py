"""What hack/demo is made of: the model server's image, one pod started twice, and how that is shown."""
