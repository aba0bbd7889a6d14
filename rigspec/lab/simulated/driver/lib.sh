# Simulated NVIDIA driver: what its tools share. POSIX sh, builtins only, so that it runs in a
# container that has nothing but a shell.
SIM=/usr/lib/nvidia-sim
RUN=/run/nvidia-sim
TAB=$(printf '\t')

# one line per GPU that this place may see: minor bdf uuid key
sim_gpus() {
  while read -r minor bdf uuid key; do
    [ -e "/dev/nvidia$minor" ] && printf '%s %s %s %s\n' "$minor" "$bdf" "$uuid" "$key"
  done < "$RUN/gpus"
}

# sim_facts KEY: sets name memory min default max capability clock from the catalog's table
sim_facts() {
  name='NVIDIA Graphics Device' memory=0 min=0 default=0 max=0 capability=0.0 clock=0
  while IFS=$TAB read -r k n m lo de hi cc mhz; do
    [ "$k" = "$1" ] || continue
    name=$n memory=$m min=$lo default=$de max=$hi capability=$cc clock=$mhz
  done < "$SIM/gpus.tsv"
}

# sim_read FILE DEFAULT: its first line
sim_read() {
  line=
  if [ -r "$1" ]; then read -r line < "$1" || :; fi
  printf '%s' "${line:-$2}"
}

# what userspace and the loaded "module" say of themselves
sim_userspace_version() { sim_read "$SIM/version" ''; }
sim_loaded_version() { sim_read "$RUN/version" ''; }
