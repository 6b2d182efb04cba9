"""The public names with their types; at run time they are imported on first use."""

from pks4.library.fitting import what_fits as what_fits
from pks4.library.instruments import count_macs as count_macs
from pks4.library.instruments import simulate_step as simulate_step
from pks4.library.models import create_model as create_model
from pks4.library.models import list_models as list_models
from pks4.library.models import register_model as register_model
from pks4.library.runs import compare_runs as compare_runs
from pks4.library.runs import read_run as read_run
from pks4.library.runs import run as run
from pks4.method.module import PKS4 as PKS4
from pks4.method.options import Options as Options
from pks4.method.prior import KinematicPriorEncoder as KinematicPriorEncoder
from pks4.method.video import plug_in as plug_in
from pks4.scan import scan_sites as scan_sites
from pks4.scan import selective_scan as selective_scan
from pks4.weights.official import load_official as load_official

__version__: str
