"""Rows as the sets publish them, by field; texts are made up."""

from typing import Any

PRM800K = {
    "labeler": "340d89bc", "timestamp": "2022-07-17T16:56:51", "generation": None,
    "is_quality_control_question": False, "is_initial_screening_question": False,
    "question": {
        "problem": "How many?", "ground_truth_solution": None, "ground_truth_answer": "7",
        "pre_generated_steps": ["I look.", "So it is 5.", "Then 6.", "# Answer\n\n6"],
        "pre_generated_answer": "6", "pre_generated_verifier_score": 0.1,
    },
    "label": {
        "steps": [
            {"completions": [{"text": "I look.", "rating": 0, "flagged": False}],
             "human_completion": None, "chosen_completion": 0},
            {"completions": [{"text": "So it is 5.", "rating": -1, "flagged": False}],
             "human_completion": None, "chosen_completion": None},
        ],
        "total_time": 100, "finish_reason": "found_error",
    },
}  # fmt: skip
PRM800K_PHASE_1 = {
    **PRM800K,
    "question": {"problem": "How many?", "ground_truth_answer": "7"},
    "label": {
        "steps": [
            {"completions": [{"text": "bad", "rating": -1}, {"text": "good", "rating": 1}],
             "human_completion": None, "chosen_completion": 1},
            {"completions": [{"text": "bad", "rating": -1}],
             "human_completion": {"text": "mine", "rating": None, "source": "human"}, "chosen_completion": None},
            {"completions": [{"text": "The answer is 7.", "rating": 1}],
             "human_completion": None, "chosen_completion": 0},
        ],
        "total_time": 100, "finish_reason": "solution",
    },
}  # fmt: skip
MATH_SHEPHERD = {
    "input": "Janet has 3 eggs. How many? Step 1: She has 3. ки\nStep 2: So 4. The answer is: 4 ки",
    "label": "Janet has 3 eggs. How many? Step 1: She has 3. +\nStep 2: So 4. The answer is: 4 -",
    "task": "GSM8K",
}
TRL = {"prompt": "Which is larger?", "completions": ["I compare.", "9.11."], "labels": [True, False]}
VISUALPRM_RAW = {
    "image": "images/a.png", "question": "<image>\nHow many cells? Answer step by step.",
    "question_orig": "<image>\nHow many cells?", "answer": "3", "response": "I count.\n\nThree.\n\nFour.",
    "steps_with_score": [
        {"step": "I count.", "score": 0.0625, "num_mc_correct": 1, "num_mc_total": 16},
        {"step": "Three.", "score": 0.0, "num_mc_correct": 0, "num_mc_total": 16},
        {"step": "Four.", "score": 0.0, "num_mc_correct": 0, "num_mc_total": 0},
    ],
    "num_mc_sequences": 16,
}  # fmt: skip
VISUALPRM = {
    "id": -1, "image": ["images/a.png"],
    "conversations": [
        {"from": "system", "value": "You are ..."},
        {"from": "human", "value": "### Question:\n<image>\nHow many?\n\n### Solution Process:\nI count."},
        {"from": "gpt", "value": "+"},
        {"from": "human", "value": "Three."},
        {"from": "gpt", "value": "-"},
    ],
}  # fmt: skip
VISUALPROCESSBENCH = {
    "image": ["images/MMMU/a.png", "images/MMMU/b.png"], "question": "<image>\n<image>\nWhich is it?", "answer": "B",
    "response": {"steps": ["I see.", "Well.", "So A."], "process_correctness": [1, 0, -1]},
    "policy_model": "GPT-4o", "data_source": "MMMU",
}  # fmt: skip
PROCESSBENCH = {
    "id": "gsm8k-0", "generator": "Qwen2-7B-Instruct", "problem": "How many?",
    "steps": ["a", "b", "c"], "final_answer_correct": False, "label": 1,
}  # fmt: skip
PRMBENCH = {
    "idx": "redundency_1", "classification": "redundency", "original_question": "How many?",
    "modified_question": "How many?", "original_process": ["a", "b", "c"],
    "modified_process": ["a", "b", "b again", "c"], "modified_steps": [3], "error_steps": [3], "reason": "twice",
    "question": "How many?",
}  # fmt: skip
MR_GSM8K = {
    "uuid": "u-1", "question": "How many?", "ground_truth_answer": "4", "question_type": "original",
    "model_output_steps": ["Step 1: a", "Step 2: b", "Step 3: c"], "model_output_answer_correctness": "correct",
    "model_output_solution_correctness": "wrong", "model_output_solution_first_error_step": 2,
    "model_output_solution_first_error_reason": "no",
}  # fmt: skip
REASONEVAL_INVALID = {
    "uuid": "1", "question": "How many?", "ground_truth_answer": "4", "sampled_model": "abel",
    "model_output_step_format": [["1. a", "more"], ["2. b"], ["3. c"]], "model_output_answer_correctness": "wrong",
    "model_output_solution_correctness": "wrong", "model_output_solution_first_error_step": 2,
}  # fmt: skip
REASONEVAL_REDUNDANT = {
    "id": 0, "question": "How big?", "ground_truth_answer": "216", "generator": "GPT-4 (PRM800K)",
    "model_output_step_format": [["a"], ["b"], ["c"]], "rating": [1, 0, 1],
}  # fmt: skip
REASONEVAL_PERTURBED = {
    "id": 7, "rid": 0, "question": "How much?", "ground_truth_answer": "29", "reference_steps": ["a", "b", "c", "d"],
    "hypothesis_steps": ["a", "b", "x", "d"], "error_type": "random number", "tags": 2,
}  # fmt: skip

ROWS: dict[str, dict[str, Any]] = {
    "prm800k": PRM800K, "math_shepherd": MATH_SHEPHERD, "trl": TRL, "visualprm_raw": VISUALPRM_RAW,
    "visualprm": VISUALPRM, "visualprocessbench": VISUALPROCESSBENCH, "processbench": PROCESSBENCH,
    "prmbench": PRMBENCH, "mr_gsm8k": MR_GSM8K, "reasoneval": REASONEVAL_INVALID,
}  # fmt: skip
