# What the test's machine has besides the lab's Vagrantfile: emulated CPUs, QEMU's user-mode network with ssh on
# the loopback interface alone, and a console in a file. vagrant-libvirt knows no user-mode network: its list of
# networks is made empty, so that it starts none, and the address that it looks for is the loopback's.
require "vagrant-libvirt/driver"
require "vagrant-libvirt/util/network_util"

port = Integer(ENV.fetch("KINTRO_VM_PORT"))

module NoNetworks
  def configured_networks(*)
    []
  end

  def libvirt_networks(*)
    []
  end
end

module Loopback
  def get_ipaddress(*)
    "127.0.0.1"
  end

  def list_all_networks
    []
  end
end

VagrantPlugins::ProviderLibvirt::Util::NetworkUtil.prepend(NoNetworks)
VagrantPlugins::ProviderLibvirt::Driver.prepend(Loopback)

Vagrant.configure("2") do |config|
  config.ssh.host = "127.0.0.1"
  config.ssh.port = port
  config.ssh.insert_key = false
  config.vm.boot_timeout = 600
  config.vm.graceful_halt_timeout = 300
  config.vm.guest = :debian # else each command tries some dozens of distributions by ssh
  if (wheels = ENV["KINTRO_VM_WHEELS"])
    config.vm.synced_folder wheels, "/usr/local/share/kintro/wheels", type: "rsync"
  end

  config.vm.provider :libvirt do |libvirt|
    libvirt.uri = "qemu:///session"
    libvirt.system_uri = "qemu:///session"
    libvirt.qemu_use_session = true
    libvirt.driver = "qemu"
    libvirt.machine_type = "q35"
    # Wheels of numpy want x86-64-v2; a 5-level page table alone costs half a minute of emulated start.
    libvirt.cpu_mode = "custom"
    libvirt.cpu_model = "Nehalem"
    libvirt.disk_driver cache: "unsafe" # the disk is gone, or packed, before the host could lose it
    libvirt.graphics_type = "none"
    libvirt.video_type = "none"
    libvirt.serial type: "file", source: { path: ENV.fetch("KINTRO_VM_CONSOLE") }
    libvirt.qemuargs value: "-netdev"
    libvirt.qemuargs value: "user,id=lab,ipv6=off,hostfwd=tcp:127.0.0.1:#{port}-:22"
    libvirt.qemuargs value: "-device"
    libvirt.qemuargs value: "virtio-net-pci,netdev=lab,bus=pcie.0,addr=0x10" # a slot that libvirt does not use
  end
end
