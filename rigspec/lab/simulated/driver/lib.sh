# Simulated NVIDIA driver: what its tools share. POSIX sh, builtins only, so that it runs in a
# container that has nothing but a shell, and because an emulated machine takes 16 ms for a process.
# Long tables are read with `.`: `read` makes a system call per character.
SIM=/usr/lib/nvidia-sim
RUN=/run/nvidia-sim

# one line per GPU that this place may see: minor bdf uuid key
sim_gpus() {
  while read -r minor bdf uuid key; do
    [ -e "/dev/nvidia$minor" ] && printf '%s %s %s %s\n' "$minor" "$bdf" "$uuid" "$key"
  done < "$RUN/gpus"
}

# sim_read FILE DEFAULT: its first line, in `line`
sim_read() {
  line=
  if [ -r "$1" ]; then read -r line < "$1" || :; fi
  line=${line:-$2}
}
