"""DICOM, PNG and JPEG in, RGB tiles out."""
