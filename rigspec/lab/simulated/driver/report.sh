# Simulated nvidia-smi: the long forms of its output, after the layout of 590 and 595.

largest_bar_mib() {
  bar1=0
  while read -r low high _flags; do
    size=$(( (high - low + 1) / 1048576 ))
    [ "$size" -le "$bar1" ] || bar1=$size
  done < "$dir/resource"
}

report_version() {
  echo "NVIDIA-SMI version  : $driver"
  echo "NVML version        : ${driver%.*}"
  echo "DRIVER version      : $loaded"
  echo "CUDA Version        : $cuda"
}

report_table_head() {
  line='+-----------------------------------------------------------------------------------------+'
  echo 'SIMULATED by the rigspec lab: no NVIDIA hardware is present'
  echo "$line"
  printf '| NVIDIA-SMI %-22s Driver Version: %-14s CUDA Version: %-8s |\n' "$driver" "$driver" "$cuda"
  echo "$line"
}
report_table_row() {
  printf '| %3s  %-28s %-3s | %s | %5sW / %5sW | %9sMiB |\n' "$minor" "$name" \
    "$([ "$persistent" = Enabled ] && echo On || echo Off)" "$bus" 31 "$limit" "$memory"
}
report_table_foot() { echo "$line"; }

report_topology() {
  case $value in
    -m|--matrix) ;;
    '-p2p r'|'-p2p w'|'-p2p n'|'-p2p a'|'-p2p p') report_p2p; return 0 ;;
    *) usage ;;
  esac
  printf '\t'
  while read -r minor bdf uuid key; do printf 'GPU%s\t' "$minor"; done <<END
$all
END
  printf 'CPU Affinity\tNUMA Affinity\tGPU NUMA ID\n'
  while read -r minor bdf uuid key; do
    printf 'GPU%s\t' "$minor"
    mine=$bdf
    while read -r _m other _u _k; do
      if [ "$other" = "$mine" ]; then printf ' X \t'; continue; fi
      relation "$mine" "$other"; printf '%s\t' "$relation"
    done <<END
$all
END
    read -r node < "/sys/bus/pci/devices/$mine/numa_node"
    read -r cpus < "/sys/bus/pci/devices/$mine/local_cpulist"
    [ "$node" -ge 0 ] || node=N/A
    printf '%s\t%s\t\tN/A\n' "$cpus" "$node"
  done <<END
$all
END
  cat <<'END'

Legend:

  X    = Self
  SYS  = Connection traversing PCIe as well as the SMP interconnect between NUMA nodes (e.g., QPI/UPI)
  NODE = Connection traversing PCIe as well as the interconnect between PCIe Host Bridges within a NUMA node
  PHB  = Connection traversing PCIe as well as a PCIe Host Bridge (typically the CPU)
  PXB  = Connection traversing multiple PCIe bridges (without traversing the PCIe Host Bridge)
  PIX  = Connection traversing at most a single PCIe bridge
  NV#  = Connection traversing a bonded set of # NVLinks
END
}

# no traffic can be simulated: peer access is what the model allows, nothing more
report_p2p() {
  printf ' \t'
  while read -r minor bdf uuid key; do printf 'GPU%s\t' "$minor"; done <<END
$all
END
  echo
  while read -r minor bdf uuid key; do
    sim_facts "$key"
    case $name in *GeForce*) peer=CNS ;; *) peer=OK ;; esac
    printf ' GPU%s\t' "$minor"
    mine=$minor
    while read -r other _b _u _k; do
      if [ "$other" = "$mine" ]; then printf 'X\t'; else printf '%s\t' "$peer"; fi
    done <<END
$all
END
    echo
  done <<END
$all
END
  cat <<'END'

Legend:

  X    = Self
  OK   = Status Ok
  CNS  = Chipset not supported
  GNS  = GPU not supported
  TNS  = Topology not supported
  NS   = Not supported
  DR   = Disabled by regkey
  U    = Unknown
END
}

item() { printf '%*s%-*s : %s\n' "$1" '' "$((55 - $1))" "$2" "$3"; }
report_details_head() {
  printf '\n==============NVSMI LOG==============\n\n'
  item 0 Timestamp "$(date '+%a %b %e %T %Y')"
  item 0 'Driver Version' "$driver"
  item 0 'CUDA Version' "$cuda"
  echo
  item 0 'Attached GPUs' "$count"
}
report_details() {
  largest_bar_mib
  echo "GPU $bus"
  item 4 'Product Name' "$name"
  item 4 'Product Brand' Simulated
  item 4 'Persistence Mode' "$persistent"
  item 4 'GPU UUID' "$uuid"
  item 4 'Minor Number' "$minor"
  item 4 'VBIOS Version' 00.00.00.00.5E
  item 4 'GPU Recovery Action' None
  echo '    PCI'
  item 8 'Bus Id' "$bus"
  echo '        GPU Link Info'
  echo '            PCIe Generation'
  item 16 Max "$both"
  item 16 Current "$gen"
  item 16 'Device Current' "$gen"
  item 16 'Device Max' "$gen_max"
  item 16 'Host Max' "$gen_host"
  echo '            Link Width'
  item 16 Max "${width_max}x"
  item 16 Current "${width}x"
  echo '    FB Memory Usage'
  item 8 Total "$memory MiB"
  echo '    BAR1 Memory Usage'
  item 8 Total "$bar1 MiB"
  echo '    Temperature'
  item 8 'GPU Current Temp' '34 C'
  echo '    GPU Power Readings'
  item 8 'Instantaneous Power Draw' '31.25 W'
  item 8 'Current Power Limit' "$limit.00 W"
  item 8 'Requested Power Limit' "$limit.00 W"
  item 8 'Default Power Limit' "$default.00 W"
  item 8 'Min Power Limit' "$min.00 W"
  item 8 'Max Power Limit' "$max.00 W"
  echo '    Clocks'
  item 8 Graphics "$now MHz"
  echo '    Max Clocks'
  item 8 Graphics "$clock MHz"
}

report_xml_head() {
  cat <<END
<?xml version="1.0" ?>
<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">
<!-- simulated by the rigspec lab -->
<nvidia_smi_log>
	<timestamp>$(date '+%a %b %e %T %Y')</timestamp>
	<driver_version>$driver</driver_version>
	<cuda_version>$cuda</cuda_version>
	<attached_gpus>$count</attached_gpus>
END
}
report_xml() {
  largest_bar_mib
  cat <<END
	<gpu id="$bus">
		<product_name>$name</product_name>
		<product_brand>Simulated</product_brand>
		<persistence_mode>$persistent</persistence_mode>
		<mig_mode>
			<current_mig>N/A</current_mig>
			<pending_mig>N/A</pending_mig>
		</mig_mode>
		<serial>N/A</serial>
		<uuid>$uuid</uuid>
		<minor_number>$minor</minor_number>
		<vbios_version>00.00.00.00.5E</vbios_version>
		<gpu_recovery_action>None</gpu_recovery_action>
		<pci>
			<pci_bus_id>$bus</pci_bus_id>
			<pci_gpu_link_info>
				<pcie_gen>
					<max_link_gen>$both</max_link_gen>
					<current_link_gen>$gen</current_link_gen>
					<device_current_link_gen>$gen</device_current_link_gen>
					<max_device_link_gen>$gen_max</max_device_link_gen>
					<max_host_link_gen>$gen_host</max_host_link_gen>
				</pcie_gen>
				<link_widths>
					<max_link_width>${width_max}x</max_link_width>
					<current_link_width>${width}x</current_link_width>
				</link_widths>
			</pci_gpu_link_info>
		</pci>
		<fb_memory_usage>
			<total>$memory MiB</total>
			<reserved>0 MiB</reserved>
			<used>0 MiB</used>
			<free>$memory MiB</free>
		</fb_memory_usage>
		<bar1_memory_usage>
			<total>$bar1 MiB</total>
			<used>0 MiB</used>
			<free>$bar1 MiB</free>
		</bar1_memory_usage>
		<ecc_mode>
			<current_ecc>N/A</current_ecc>
			<pending_ecc>N/A</pending_ecc>
		</ecc_mode>
		<temperature>
			<gpu_temp>34 C</gpu_temp>
		</temperature>
		<gpu_power_readings>
			<instant_power_draw>31.25 W</instant_power_draw>
			<current_power_limit>$limit.00 W</current_power_limit>
			<requested_power_limit>$limit.00 W</requested_power_limit>
			<default_power_limit>$default.00 W</default_power_limit>
			<min_power_limit>$min.00 W</min_power_limit>
			<max_power_limit>$max.00 W</max_power_limit>
		</gpu_power_readings>
		<clocks>
			<graphics_clock>$now MHz</graphics_clock>
		</clocks>
		<max_clocks>
			<graphics_clock>$clock MHz</graphics_clock>
		</max_clocks>
	</gpu>
END
}
