Vagrant.configure("2") do |config|
  config.vm.base_mac = "0800276B696E"
  config.vm.provider :virtualbox do |virtualbox|
    virtualbox.customize ["modifyvm", :id, "--nictype1", "virtio"]
  end
end
