"""Where frames come from: files, folders, cameras, the network and made-up scenes."""
