# What commands of Ray's launcher run with on a host of onprem.yaml; see its setup_commands.
export PATH=$HOME/narl-checkout/cluster/onprem/bin:$HOME/narl-venv/bin:$PATH
# Ray's folder, apart from that of other clusters on this host: `auto` finds this cluster, `ray stop` ends only it.
export RAY_TMPDIR=/tmp/narl-$(id -un)
export RAY_AUTH_MODE=token
