"""Settings: read once, every problem told together, and written so that they are read again the same."""

from pathlib import Path

import pytest

from touchline.architectures.settings import Settings, SettingsWrong, read_settings, to_environ


def test_no_variable_is_all_defaults_and_other_programs_variables_are_theirs() -> None:
    assert read_settings({"PATH": "/bin", "TOUCH": "1", "touchline_pods": "9"}) == Settings()


def test_each_kind_of_value_is_read_from_text() -> None:
    settings = read_settings(
        {
            "TOUCHLINE_PODS": "6",
            "TOUCHLINE_FEED": "none",
            "TOUCHLINE_DATA_DIR": "/var/lib/touchline",
            "TOUCHLINE_DEMO": "false",
            "TOUCHLINE_DEMO_SPEED": "1.5",
            "TOUCHLINE_POSTGRES": "postgresql://books@127.0.0.1:5432/touchline",
            "TOUCHLINE_TOKEN_SECRET": "s" * 32,
        }
    )
    assert (settings.pods, settings.feed, settings.data_dir) == (6, "none", Path("/var/lib/touchline"))
    assert (settings.demo, settings.demo_speed) == (False, 1.5)
    assert settings.postgres == "postgresql://books@127.0.0.1:5432/touchline"
    assert read_settings(to_environ(settings)) == settings
    assert read_settings(to_environ(Settings())) == Settings()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TOUCHLINE_POD", "3"),
        ("TOUCHLINE_PODS", ""),
        ("TOUCHLINE_PODS", "0"),
        ("TOUCHLINE_PODS", "65"),
        ("TOUCHLINE_PODS", "three"),
        ("TOUCHLINE_ODDS_TOLERANCE_PCT", "-1"),
        ("TOUCHLINE_ODDS_TOLERANCE_PCT", "1e1"),
        ("TOUCHLINE_PODS", "3.5"),
        ("TOUCHLINE_PODS", "1e1000"),
        ("TOUCHLINE_PORT", "65536"),
        ("TOUCHLINE_PORT", "-1"),
        ("TOUCHLINE_FEED", "Demo"),
        ("TOUCHLINE_ARCHITECTURE", "quantum"),
        ("TOUCHLINE_CURRENCY", "XXX"),
        ("TOUCHLINE_DEMO", "maybe"),
        ("TOUCHLINE_DEMO_SPEED", "0"),
        ("TOUCHLINE_DEMO_SPEED", "nan"),
        ("TOUCHLINE_DEMO_SPEED", "inf"),
        ("TOUCHLINE_TOKEN_SECRET", "letmein"),
        ("TOUCHLINE_STAKE_MIN_MINOR", "1000001"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_by_its_variables_name(variable: str, value: str) -> None:
    with pytest.raises(SettingsWrong) as wrong:
        read_settings({variable: value})
    (problem,) = wrong.value.problems
    assert variable in problem
    assert variable != "TOUCHLINE_TOKEN_SECRET" or value not in problem


def test_every_problem_is_told_together() -> None:
    with pytest.raises(SettingsWrong) as wrong:
        read_settings(
            {"TOUCHLINE_PODS": "x", "TOUCHLINE_PORT": "x", "TOUCHLINE_WHAT": "x", "TOUCHLINE_FEED": "none"}
        )
    assert len(wrong.value.problems) == 3
