"""Components of the distribution that the driver's dependencies live in, enabled beside its own.

The owner's source files are not edited: the component gets a file of ours, with the address and the
options (key, validity) of the entry that lists `main`, because apt refuses one address with two
different options.
"""

from __future__ import annotations

from rigspec.operations.apt_scripts import RIG_APT

ENABLE_COMPONENTS = (
    RIG_APT
    + r"""
root=${RIGSPEC_ROOT:-} # tests point it at a folder that stands for /
listed() {
  apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT) $(ORIGIN)' \
    'Created-By: Packages' | awk -v c="$1" '$3 == c && $4 == "Debian" && $2 !~ /-/'
}
# the options of the stanza that lists this address: all but what we say ourselves
options_of() {
  awk -v uri="$2" '
    BEGIN { RS = ""; FS = "\n" }
    {
      found = 0
      for (i = 1; i <= NF; i++)
        if ($i ~ /^URIs:/) {
          n = split(substr($i, 6), words, /[ \t]+/)
          for (w = 1; w <= n; w++) if (words[w] == uri || words[w] == uri "/") found = 1
        }
      if (!found) next
      for (i = 1; i <= NF; i++) {
        if ($i !~ /^[ \t]/) keep = $i !~ /^(Types|URIs|Suites|Components|Enabled|#)/
        if (keep) print $i
      }
      exit
    }' "$1"
}
names=$* added=
[ -n "$(listed main)" ] || rig_update
for component in "$@"; do
  [ -z "$(listed "$component")" ] || continue
  # shellcheck disable=SC2046  # the fields of one line
  set -- $(listed main | head -n 1)
  uri=${1:-} suite=${2:-}
  uri=${uri%/}
  [ -n "$suite" ] || {
    echo "no Debian source is listed below /etc/apt, and the driver needs its $component" >&2
    exit 1
  }
  entry=$(grep -rlF -- "$uri" "$root/etc/apt/sources.list" "$root/etc/apt/sources.list.d" \
    2>/dev/null | head -n 1)
  file=$root/etc/apt/sources.list.d/rigspec-$component.sources
  {
    echo "# Written by rigspec: dependencies of the driver live in Debian's $component."
    printf 'Types: deb\nURIs: %s\nSuites: %s\n' "$uri" "$suite"
    printf 'Components: %s\n' "$component"
    case $entry in
    *.sources) options_of "$entry" "$uri" ;;
    ?*) sed -n "\\|$uri|s/^deb .*signed-by=\([^] ]*\).*/Signed-By: \1/p" "$entry" | head -n 1 ;;
    esac
  } >"$file"
  added="$added $file"
done
[ -z "$added" ] || rig_try_update || {
  # shellcheck disable=SC2086  # one word per file
  rm -f $added
  rig_fail "apt-get update"
  if grep -qF -- "$uri" "$rig_log"; then
    echo "Debian's $names cannot be enabled beside $entry:" \
      "add $names to the Components there, then run again" >&2
  fi
  exit 1
}
"""
)
"""Debian's components `$@` are listed, and so is what else was not read yet."""
