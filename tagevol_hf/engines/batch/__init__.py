"""Vendor batch APIs (OpenAI's `/v1/batches` protocol): half the price, an answer within a day.

`engine.py` is the engine. Requests go through `intake.py` into files on disk (`spool.py`, in the format of `file.py`);
`fleet.py` sends and polls the batches by `client.py` and `http.py`; `run.py` decides what becomes of each request;
`notes.py` keeps in the store what is under way, so that a restart picks it up.
"""
