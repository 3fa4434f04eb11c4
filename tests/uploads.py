"""Cases of a ward, for what would leave with them."""

from annotation_run import text_records

from medprm.cases.schema import CaseSolutions, Metadata


def ward_cases(**metadata: object) -> list[CaseSolutions]:
    """case-0 and case-1 of patients patient-0 and patient-1, two steps each."""
    marks = {"source": "ward", "phi_removed": True, "irb_approved": True} | metadata
    records = [
        one.model_copy(update={"metadata": Metadata(**marks), "case_id": one.case_id.replace("-", "_")})  # type: ignore[arg-type]
        for one in text_records(2, num_solutions=1, num_steps=2)
    ]
    return [CaseSolutions(one.case(), [one.solution()]) for one in records]
