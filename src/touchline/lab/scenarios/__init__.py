"""Every scenario by its name; another one is a module here and a line below."""

from typing import Final

from touchline.lab.scenario import Scenario
from touchline.lab.scenarios.compare import COMPARE
from touchline.lab.scenarios.faults import FAULTS_SCENARIO
from touchline.lab.scenarios.knee import KNEE
from touchline.lab.scenarios.ladder import LADDER
from touchline.lab.scenarios.settlement import SETTLEMENT
from touchline.lab.scenarios.soak import SOAK
from touchline.lab.scenarios.volatility import VOLATILITY

SCENARIOS: Final[dict[str, Scenario]] = {
    scenario.name: scenario for scenario in (KNEE, VOLATILITY, SETTLEMENT, LADDER, COMPARE, FAULTS_SCENARIO, SOAK)
}
