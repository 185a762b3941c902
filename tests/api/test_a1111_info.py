from __future__ import annotations

import json

from sdwebui.api.a1111_info import generation_answer, info_facts, timestamp
from sdwebui.api.a1111_schemas import Txt2ImgBody
from sdwebui.domain.requests import Txt2ImgRequest
from tests.fakes import Services


def test_times_are_written_as_a1111_does():
    assert timestamp(0.0) == "19700101000000"


def test_a_job_without_pictures_still_has_every_key(fakes: Services):
    job = fakes.generation.submit(Txt2ImgRequest(prompt="月亮", steps=1, width_px=64, height_px=64), owner="bob")
    info = info_facts(job)
    assert (info["all_seeds"], info["infotexts"], info["sd_model_hash"]) == ([], [], None)
    done = fakes.generation.wait(job.id, 5)
    assert set(info_facts(done)) == set(info)
    answer = generation_answer(Txt2ImgBody(prompt="月亮"), done, [b"png"])
    assert answer["images"] == ["cG5n"]
    assert "月亮" in answer["info"]
    assert json.loads(answer["info"])["prompt"] == "月亮"
