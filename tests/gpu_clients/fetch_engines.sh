#!/usr/bin/env bash
# Fetches the drivers and packages that the GPU tests and `main.py --gpu_check=True` need.
#
# Usage: fetch_engines.sh FOLDER PYTHON NAME...   NAME: vulkan, swiftshader, mediapipe, browser
#
# The script installs nothing on the system and needs no root. It downloads packages of Debian or
# Ubuntu with apt, from the configured mirror, and unpacks them into FOLDER. Existing files are kept.
# It prints one line for each NAME, and exits with status 1 if one of them is not available.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
folder=$(mkdir -p "$1" && cd "$1" && pwd)
python=$2
shift 2

# The tests look for these files (see portrait/export/gpu_engine.py). Each is written last.
declare -A ready=(
    [vulkan]=lavapipe_icd.json
    [swiftshader]=swiftshader_icd.json
    [mediapipe]=mediapipe/ready
    [browser]=browser/node_modules/ready
)
OLDEST_MESA=25  # the first whose lavapipe computes in float16 as ML Drift needs it

# Runs apt with separate lists and downloads, and with the backports suite of this release.
apt_here() {
    local apt=$folder/apt suite mirror
    if [ ! -f "$apt/updated" ]; then
        command -v apt-get > /dev/null || { echo "no apt-get here" >&2; return 1; }
        mkdir -p "$apt"/{lists,archives}/partial "$apt/sources.list.d"
        cp /etc/apt/sources.list.d/*.{list,sources} /etc/apt/sources.list \
            "$apt/sources.list.d" 2> /dev/null || true
        suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
        mirror=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' \
            | sed -n "s/^$suite //p" | head -n 1)
        [ -z "$mirror" ] || echo "deb $mirror $suite-backports main" \
            > "$apt/sources.list.d/backports-of-this-mirror.list"
        cat > "$apt/apt.conf" << END
Dir::Etc::SourceList "/dev/null";
Dir::Etc::SourceParts "$apt/sources.list.d";
Dir::State "$apt";
Dir::State::Lists "$apt/lists";
Dir::State::status "/var/lib/dpkg/status";
Dir::Cache "$apt";
Dir::Cache::Archives "$apt/archives";
Debug::NoLocking "true";
END
        APT_CONFIG=$apt/apt.conf apt-get update -qq >&2
        touch "$apt/updated"
    fi
    APT_CONFIG=$apt/apt.conf "$@"
}

# Unpacks the downloaded packages into FOLDER/root, and removes the archives.
unpack() {
    mkdir -p "$folder/root"
    for archive in "$folder"/apt/archives/*.deb; do
        dpkg -x "$archive" "$folder/root"
        rm "$archive"
    done
}

# Writes the description of a Vulkan driver for the loader. Usage: driver FILE LIBRARY
driver() {
    printf '{"file_format_version": "1.0.0", "ICD": {"library_path": "%s", "api_version": "1.3"}}\n' \
        "$2" > "$1"
}

vulkan() {
    local newest version
    apt_here true
    newest=$(apt_here apt-cache madison mesa-vulkan-drivers | awk '{print $3}' | sort -rV | head -n 1)
    version=${newest#*:}
    if [ "${version%%.*}" -lt $OLDEST_MESA ] 2> /dev/null || [ -z "$version" ]; then
        echo "the newest mesa-vulkan-drivers of this mirror is ${version:-none}; $OLDEST_MESA is needed" >&2
        return 1
    fi
    suite=$(. /etc/os-release && echo "$VERSION_CODENAME-backports")
    apt_here apt-get install -qq --yes --download-only --no-install-recommends \
        -t "$suite" mesa-vulkan-drivers libvulkan1 libegl1 libegl-mesa0 libgles2 > /dev/null
    unpack
    driver "$folder/${ready[vulkan]}" "$(find "$folder/root" -name libvulkan_lvp.so | head -n 1)"
}

swiftshader() {
    local installed library
    for installed in /usr/lib/chromium /usr/lib/chromium-browser /opt/google/chrome; do
        library=$installed/libvk_swiftshader.so
        [ ! -f "$library" ] || { driver "$folder/${ready[swiftshader]}" "$library"; return; }
    done
    # The package of Chromium contains SwiftShader; only this library is kept.
    apt_here true
    (cd "$folder/apt/archives" && apt_here apt-get -o APT::Sandbox::User=root download -qq chromium-common)
    dpkg --fsys-tarfile "$folder"/apt/archives/chromium-common_*.deb \
        | tar -x -C "$folder" ./usr/lib/chromium/libvk_swiftshader.so
    rm "$folder"/apt/archives/chromium-common_*.deb
    driver "$folder/${ready[swiftshader]}" "$folder/usr/lib/chromium/libvk_swiftshader.so"
}

mediapipe() {
    local bin=$folder/mediapipe/bin package=mediapipe==1.2.2
    "$python" -m venv "$folder/mediapipe"
    "$python" -m uv pip install --quiet --python "$bin/python" $package 2> /dev/null \
        || "$bin/python" -m pip install --quiet $package
    touch "$folder/${ready[mediapipe]}"
}

browser() {
    command -v npm > /dev/null || { echo "no npm here" >&2; return 1; }
    mkdir -p "$folder/browser"
    cp "$here/package.json" "$here/package-lock.json" "$folder/browser"
    npm ci --prefix "$folder/browser" --silent --no-audit --no-fund --ignore-scripts >&2
    touch "$folder/${ready[browser]}"
}

missing=0
for name in "$@"; do
    # A subshell ends at the first error, which a function in the condition of an `if` does not.
    set +e
    [ -f "$folder/${ready[$name]}" ] || ( set -e; $name )
    set -e
    if [ -f "$folder/${ready[$name]}" ]; then
        echo "gpu engine $name: $folder/${ready[$name]}"
    else
        echo "gpu engine $name: is not available (see above); tests that need it are skipped"
        missing=1
    fi
done
exit $missing
