"""A reviewed recording to take home: as a report, as masks, as tables, as DICOM."""
