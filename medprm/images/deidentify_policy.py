"""Which DICOM elements survive de-identification, and as what.

The Basic Profile (PS3.15 table E.1-1, as dicom-anonymizer keeps it) says which elements may identify a person; of the
rest only those named here are kept: pixels, how they are shown, their geometry, view and side. What neither names is
removed: profiles do not know retired, private or mistyped elements, and free text in any of them can hold a name.
"""

import functools
from collections.abc import Mapping
from typing import Any

from pydicom.datadict import tag_for_keyword

from medprm.images.files import ImageError


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Not changed: numbers and bytes that pixels cannot be read, shown or measured without.
NUMBERS = _words(
    """
    SamplesPerPixel PlanarConfiguration NumberOfFrames Rows Columns PixelAspectRatio BitsAllocated BitsStored
    HighBit PixelRepresentation SmallestImagePixelValue LargestImagePixelValue PixelPaddingValue
    PixelPaddingRangeLimit WindowCenter WindowWidth RescaleIntercept RescaleSlope LUTDescriptor LUTData
    RedPaletteColorLookupTableDescriptor GreenPaletteColorLookupTableDescriptor
    BluePaletteColorLookupTableDescriptor RedPaletteColorLookupTableData GreenPaletteColorLookupTableData
    BluePaletteColorLookupTableData SegmentedRedPaletteColorLookupTableData
    SegmentedGreenPaletteColorLookupTableData SegmentedBluePaletteColorLookupTableData PixelSpacing
    ImagerPixelSpacing NominalScannedPixelSpacing EstimatedRadiographicMagnificationFactor
    ImagePositionPatient ImageOrientationPatient SliceThickness SliceLocation SpacingBetweenSlices
    GantryDetectorTilt PatientOrientation DistanceSourceToDetector DistanceSourceToPatient SeriesNumber
    AcquisitionNumber InstanceNumber ImagesInAcquisition TemporalPositionIdentifier FrameIncrementPointer
    FrameTime FrameTimeVector LossyImageCompressionRatio KVP ExposureTime XRayTubeCurrent Exposure EchoTime
    RepetitionTime FlipAngle MagneticFieldStrength DimensionIndexValues InStackPositionNumber PixelData
    FloatPixelData DoubleFloatPixelData ExtendedOffsetTable ExtendedOffsetTableLengths
    """
)

_YES_NO = frozenset({"YES", "NO"})
_SIDES = frozenset({"L", "R", "U", "B"})
# Coded strings, by the terms that may be written; another value is removed. PS3.3 C.7-C.8, PS3.16 annex L.
TERMS: Mapping[str, frozenset[str]] = {
    "Modality": _words(
        """
    CR CT DX ES GM IO IVUS KO MG MR NM OCT OP OT PR PT PX RF RG RTIMAGE SC SEG SM US XA XC
    """
    ),
    "PhotometricInterpretation": frozenset(
        ["MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB"]
        + ["YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422", "YBR_PARTIAL_420", "YBR_RCT", "YBR_ICT", "XYB"]
    ),
    "ImageType": frozenset(
        ["ORIGINAL", "DERIVED", "PRIMARY", "SECONDARY", "AXIAL", "LOCALIZER", "CT_SOM5 SPI", "MPR", "REFORMATTED"]
        + ["VOLUME", "NONE", "AVERAGE", "PROJECTION IMAGE", "SINGLE PLANE", "M", "P", "R", "I"]
    ),
    "ViewPosition": _words(
        """
    AP PA LL RL RLD LLD RLO LLO RAO LAO RPO LPO LATERAL LAT CC MLO ML LM LMO XCC XCCL XCCM FB SIO
    """
    ),
    "Laterality": _SIDES,
    "ImageLaterality": _SIDES,
    "FrameLaterality": _SIDES,
    "PatientPosition": _words(
        """
    HFP HFS HFDR HFDL FFP FFS FFDR FFDL LFP LFS RFP RFS AFDR AFDL PFDR PFDL
    """
    ),
    "BodyPartExamined": _words(
        """
    ABDOMEN ABDOMENPELVIS ADRENAL ANKLE AORTA ARM AXILLA BACK BLADDER BRAIN BREAST BRONCHUS BUTTOCK CALCANEUS
    CALF CAROTID CEREBELLUM CERVIX CHEEK CHEST CHESTABDOMEN CHESTABDPELVIS CLAVICLE COCCYX COLON CORNEA CSPINE
    CTSPINE DUODENUM EAR ELBOW ESOPHAGUS EXTREMITY EYE EYELID FACE FEMUR FINGER FOOT FOREARM GALLBLADDER HAND
    HEAD HEADNECK HEART HIP HUMERUS ILEUM ILIUM JAW JEJUNUM KIDNEY KNEE LARYNX LEG LIVER LSPINE LSSPINE LUNG
    MAXILLA MEDIASTINUM MOUTH NECK NECKCHEST NECKCHESTABDOMEN NOSE ORBIT OVARY PANCREAS PAROTID PATELLA PELVIS
    PENIS PHARYNX PROSTATE RADIUS RADIUSULNA RECTUM RIB SACRUM SCALP SCAPULA SCLERA SCROTUM SHOULDER SKULL
    SPINE SPLEEN SSPINE STERNUM STOMACH SUBMANDIBULAR TESTIS THIGH THUMB THYMUS THYROID TIBIA TIBIAFIBULA
    TLSPINE TMJ TOE TONGUE TRACHEA TSPINE ULNA URETER URETHRA UTERUS VAGINA VULVA WHOLEBODY WRIST ZYGOMA
    """
    ),
    "PresentationLUTShape": frozenset({"IDENTITY", "INVERSE"}),
    "PresentationIntentType": frozenset({"FOR PRESENTATION", "FOR PROCESSING"}),
    "VOILUTFunction": frozenset({"LINEAR", "LINEAR_EXACT", "SIGMOID"}),
    "RescaleType": frozenset({"HU", "US", "OD", "PVAL", "MGML", "SUV", "HU_MOD"}),
    "ModalityLUTType": frozenset({"HU", "US", "OD", "PVAL"}),
    "PixelSpacingCalibrationType": frozenset({"GEOMETRY", "FIDUCIAL"}),
    "PixelIntensityRelationship": frozenset({"LIN", "LOG", "DISP", "OTHER"}),
    "LossyImageCompression": frozenset({"00", "01"}),
    "LossyImageCompressionMethod": frozenset({"ISO_10918_1", "ISO_14495_1", "ISO_15444_1", "ISO_15444_15"}),
    "ContrastBolusAgentPhase": frozenset({"PRE_CONTRAST", "POST_CONTRAST", "IMMEDIATE", "DYNAMIC", "STEADY_STATE"}),
    "PatientSex": frozenset({"M", "F", "O"}),
    "PartialView": _YES_NO,
    "VolumetricProperties": frozenset({"VOLUME", "SAMPLED", "DISTORTED", "MIXED"}),
    "PixelPresentation": frozenset({"COLOR", "MONOCHROME", "MIXED", "TRUE_COLOR"}),
}

# Entered, and what is inside is treated by the same rules.
SEQUENCES = _words(
    """
    ModalityLUTSequence VOILUTSequence SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence
    PixelMeasuresSequence PlanePositionSequence PlaneOrientationSequence FrameContentSequence
    FrameVOILUTSequence PixelValueTransformationSequence FrameAnatomySequence CTImageFrameTypeSequence
    ViewCodeSequence ViewModifierCodeSequence AnatomicRegionSequence AnatomicRegionModifierSequence
    """
)
CODE_SEQUENCES = frozenset(name for name in SEQUENCES if "Anatomic" in name or "View" in name)
# UIDs that name a kind of thing, not a thing. They stay only where pydicom's dictionary knows them.
CLASS_UIDS = frozenset({"SOPClassUID"})
INSTANCE_UIDS = frozenset({"SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"})
DATES = frozenset({"StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "AcquisitionDateTime"})
# Written without a value, since a valid file has to hold them (type 2).
EMPTIED = frozenset({"PatientBirthDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber"})

# Where our list keeps what the Basic Profile would remove, and the option of PS3.15 that allows it.
RETAINED: Mapping[str, str] = {
    **dict.fromkeys(sorted(DATES), "113107 longitudinal, modified dates"),
    **dict.fromkeys(sorted(INSTANCE_UIDS), "replaced, as the profile asks"),
    **dict.fromkeys(sorted(EMPTIED), "without a value, as the profile asks"),
    "PatientSex": "113108 patient characteristics",
    "PatientAge": "113108 patient characteristics",
    "PatientID": "replaced by the pseudonym",
    "PatientName": "replaced by the pseudonym",
}

KEPT = NUMBERS | TERMS.keys() | SEQUENCES | CLASS_UIDS | INSTANCE_UIDS | DATES | EMPTIED
KEPT |= {"PatientID", "PatientName", "PatientAge"}

# Bytes in which short words meet by chance.
BULK = frozenset(
    ["PixelData", "FloatPixelData", "DoubleFloatPixelData", "LUTData"]
    + [name for name in NUMBERS if name.endswith("LookupTableData")]
)
# Without these the pixels cannot be read, so an identifier in one of them holds the file back.
ESSENTIAL = _words(
    """
    SamplesPerPixel Rows Columns BitsAllocated BitsStored HighBit PixelRepresentation
    PhotometricInterpretation NumberOfFrames PlanarConfiguration
    """
)


@functools.cache
def profile_tags() -> frozenset[int]:
    """Single elements that the Basic Profile acts on (2024b). Groups of them (overlays, curves) are removed whole."""
    try:
        from dicomanonymizer.simpledicomanonymizer import initialize_actions_2024b
    except ImportError as error:
        raise ImageError(
            "de-identification needs dicom-anonymizer, which is not installed: pip install 'medprm[dicom]'"
        ) from error
    actions: Mapping[tuple[int, ...], Any] = initialize_actions_2024b()
    return frozenset(tag[0] << 16 | tag[1] for tag in actions if len(tag) == 2)


def reason_to_remove(tag: int, keyword: str) -> str | None:
    """Why an element is not kept, or None. Nothing of its value is looked at here."""
    group = tag >> 16
    if group % 2:
        return "private"
    if 0x6000 <= group <= 0x60FF:
        return "overlay"
    if 0x5000 <= group <= 0x50FF:
        return "curve"
    if tag in profile_tags() and keyword not in RETAINED:
        return "basic profile"
    if keyword not in KEPT:
        return "not on the list of kept elements"
    return None


def tags_of(keywords: frozenset[str]) -> dict[str, int]:
    """Keyword -> tag; a mistyped keyword is ours to mend."""
    found = {keyword: tag_for_keyword(keyword) for keyword in sorted(keywords)}
    assert all(tag is not None for tag in found.values()), [key for key, tag in found.items() if tag is None]
    return {key: tag for key, tag in found.items() if tag is not None}
