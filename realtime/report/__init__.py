"""Exports a reviewed recording as a report, masks, tables and DICOM files."""
