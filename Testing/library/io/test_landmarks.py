"""Points as programs and people write them: what is clear is read, all else is one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pddnet.errors import InputError
from pddnet.io.landmark_init import start_from_points
from pddnet.io.landmarks import match_points, read_points

POINT = np.array([12.25, -40.5, -199.75])  # LPS mm


@pytest.mark.parametrize(
    "text",
    [
        "name,x,y,z\nL1,12.25,-40.5,-199.75\n",
        "\ufeffname,x,y,z\nL1,12.25,-40.5,-199.75",
        "name;x;y;z\r\nL1;12,25;-40,5;-199,75\r\n;;;\r\n",
        "# a note\n\n Name \t X\tY\tZ\nL1\t12.25\t-40.5\t-199.75\n",
        "label,r,a,s,defined\nL1,-12.25,40.5,-199.75,1\n",
        "label,l,p,s\nL1,12.25,-40.5,-199.75\n",
        "z,y,x,name\n-199.75,-40.5,12.25,L1\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le"])
def test_tables_that_are_clear(tmp_path: Path, text: str, encoding: str) -> None:
    text = text if encoding == "utf-8" else text.lstrip("\ufeff")
    mark = b"\xff\xfe" if encoding == "utf-16-le" else b""
    (tmp_path / "p.csv").write_bytes(mark + text.encode(encoding))
    points = read_points(tmp_path / "p.csv")
    assert list(points) == ["L1"]
    assert np.allclose(points["L1"], POINT, atol=1e-6)


HEAD = "name,x,y,z\n"
MARKUP = '{"markups": [{"coordinateSystem": "LPS", "controlPoints": [%s]}]}'


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("p.csv", HEAD + "a,1,2,3\nb,1,2\n", "row 3 has no name and three numbers, separated by a comma; correct it"),
        (
            "p.csv",
            "name;x;y;z\na;1;2;three",
            "row 2 has no name and three numbers, separated by a semicolon; correct it",
        ),
        ("p.csv", HEAD + "a;1;2;3", "row 2 has no name and three numbers, separated by a comma; correct it"),
        ("p.csv", HEAD, "the file holds no points; place some first"),
        ("p.csv", "", "these are no points"),
        ("p.csv", "a,1,2,3", "these are no points; give a CSV with the columns name,x,y,z"),
        ("p.csv", HEAD + "a,1,2,inf", "'a' has a coordinate that is not a finite number"),
        ("p.csv", HEAD + "a,1,2,1e300", "'a' lies more than 1 km away; correct it"),
        ("p.csv", HEAD + "a" * 200_000 + ",1,2,3", "row 2 cannot be read (field larger than field limit (131072))"),
        ("p.csv", b"\xe4\xfc", "the text is neither UTF-8 nor UTF-16; save it in UTF-8"),
        ("p.fcsv", "# columns = id,x,y\n1,2", "these are no points of Slicer"),
        ("p.mrk.json", "[" * 100_000, "the JSON is nested too deeply"),
        ("p.mrk.json", "{", "not JSON"),
        ("p.mrk.json", "[]", "these are no points of Slicer (a field is missing or mistyped); export them again"),
        ("p.mrk.json", "3", "these are no points of Slicer"),
        ("p.mrk.json", '{"markups": 3}', "these are no points of Slicer"),
        ("p.mrk.json", '{"markups": ["a"]}', "these are no points of Slicer"),
        ("p.mrk.json", MARKUP % "7", "these are no points of Slicer"),
        ("p.mrk.json", MARKUP % '{"label": 3, "position": [1, 2, 3]}', "these are no points of Slicer"),
        ("p.mrk.json", MARKUP % '{"label": "a", "position": [1, 2]}', "these are no points of Slicer"),
        ("p.mrk.json", MARKUP % '{"label": "a", "position": {"x": 1}}', "these are no points of Slicer"),
        ("p.mrk.json", MARKUP % ('{"label": "a", "position": [1, 2, 1%s]}' % ("0" * 5000)), "not a finite number"),
    ],
)
def test_points_that_are_refused(tmp_path: Path, name: str, text: str | bytes, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError) as caught:
        read_points(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_many_points_are_matched_and_their_line_is_found(tmp_path: Path) -> None:
    """Two long lists of points: neither their comparison nor the fit grows with the square."""
    numbers = range(20_000)
    (tmp_path / "a.csv").write_text(HEAD + "".join(f"p{n},{n * 0.01},1,2\n" for n in numbers))
    (tmp_path / "b.csv").write_text(HEAD + "".join(f"p{n + 50},{(n + 50) * 0.01 + 7},1,2\n" for n in numbers))
    names, fixed, moving, warnings = match_points(tmp_path / "a.csv", tmp_path / "b.csv")
    assert len(names) == 19_950
    assert warnings[0].endswith("left out: " + ", ".join(f"p{n}" for n in range(20)) + " and 30 more")
    assert np.allclose(start_from_points(fixed, moving)[:3, 3], [7, 0, 0], atol=0.01)


def test_slicers_points_in_both_systems(tmp_path: Path) -> None:
    for system, sign in (("LPS", 1), ("RAS", -1)):
        position = (POINT * [sign, sign, 1]).tolist()
        content = {"markups": [{"coordinateSystem": system, "controlPoints": [{"label": "L1", "position": position}]}]}
        (tmp_path / "p.mrk.json").write_text(json.dumps(content))
        assert np.allclose(read_points(tmp_path / "p.mrk.json")["L1"], POINT, atol=1e-6)
