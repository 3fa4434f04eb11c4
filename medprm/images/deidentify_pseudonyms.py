"""Pseudonyms, UIDs and date shifts from a secret: the same input gives the same output on every machine and every day.

HMAC-SHA256 (RFC 2104) under a key of the site. Without the key nothing leads back; with it anyone can test a guess, so
the key is as confidential as the list of patients.
"""

import base64
import hashlib
import hmac
import os
import re
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

from medprm.images.deidentify_settings import DeidentifySettings
from medprm.images.files import ImageError

LEAST_SECRET_BYTES = 16
# Standard UIDs (SOP classes, transfer syntaxes, coding schemes) name no patient; only those that pydicom knows stay.
_DATE = re.compile(r"(\d{4})[.-]?(\d{2})[.-]?(\d{2})")


@dataclass(frozen=True)
class Pseudonyms:
    """Everything that is derived from the secret for one patient. The secret is not shown by `repr`."""

    secret: bytes = field(repr=False)
    patient_key: str = field(repr=False)
    max_shift_days: int = 3650

    @property
    def patient(self) -> str:
        """16 letters and digits after a P: 80 bits, so that two patients of a country do not meet."""
        return "P" + base64.b32encode(self._digest("patient", self.patient_key))[:16].decode()

    @property
    def shift_days(self) -> int:
        """1 to `max_shift_days`; all dates of the patient move back by it."""
        return 1 + int.from_bytes(self._digest("days", self.patient_key)[:8]) % self.max_shift_days

    def uid(self, original: str) -> str:
        """A UID under 2.25 (PS3.5 B.2) for any UID; equal for equal ones, whichever file they stand in."""
        return f"2.25.{int.from_bytes(self._digest('uid', original.strip())[:16])}"

    def shifted(self, original: str) -> str | None:
        """A DA or DT value moved back, as YYYYMMDD (the time of a DT is dropped); None where it is not a date."""
        found = _DATE.match(original.strip())
        if found is None:
            return None
        try:
            moved = date(*(int(part) for part in found.groups())) - timedelta(days=self.shift_days)
        except (ValueError, OverflowError):
            return None
        return f"{moved.year:04d}{moved.month:02d}{moved.day:02d}"

    def _digest(self, purpose: str, text: str) -> bytes:
        return hmac.new(self.secret, f"{purpose}:{text}".encode(), hashlib.sha256).digest()


def read_secret(settings: DeidentifySettings) -> bytes:
    """The secret, from the file or the environment variable that the settings name. Raises ImageError."""
    if settings.secret_file:
        where = f"secret_file {settings.secret_file}"
        try:
            secret = Path(settings.secret_file).read_bytes().strip()
        except OSError as error:
            raise ImageError(f"{where}: cannot be read ({error.strerror}); make one: openssl rand -hex 32") from error
    else:
        where = f"environment variable {settings.secret_variable}"
        secret = os.environ.get(settings.secret_variable, "").strip().encode()
    if len(secret) < LEAST_SECRET_BYTES:
        raise ImageError(
            f"{where}: {len(secret)} bytes; expected a secret of {LEAST_SECRET_BYTES} or more, for example of "
            "`openssl rand -hex 32`, the same for all files of a project"
        )
    return secret
