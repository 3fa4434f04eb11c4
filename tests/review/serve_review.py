"""A server in a process of its own, to be killed: `python serve_review.py labelled.jsonl FOLDER PORT`."""

import sys

import uvicorn
from review_project import opened, review_config

from medprm.review.app import make_app

if __name__ == "__main__":
    path, folder, port = sys.argv[1:]
    project = opened(review_config(path, folder, rules={"overlap": 1.0}))
    uvicorn.run(make_app(project), host="127.0.0.1", port=int(port), log_level="warning")
