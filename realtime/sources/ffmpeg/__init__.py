"""What FFmpeg reads: files, devices and addresses."""
