################################################################################
#
# mender-python-client
#
################################################################################

MENDER_PYTHON_CLIENT_VERSION = 1.0.0
# the checkout or the unpacked sdist that this directory is in
MENDER_PYTHON_CLIENT_SITE = $(BR2_EXTERNAL_MENDER_PYTHON_CLIENT_PATH)/../..
MENDER_PYTHON_CLIENT_SITE_METHOD = local
MENDER_PYTHON_CLIENT_OVERRIDE_SRCDIR_RSYNC_EXCLUSIONS = --exclude .venv --exclude dist
MENDER_PYTHON_CLIENT_SETUP_TYPE = pep517
MENDER_PYTHON_CLIENT_LICENSE = Apache-2.0
MENDER_PYTHON_CLIENT_LICENSE_FILES = LICENSE
MENDER_PYTHON_CLIENT_DEPENDENCIES = host-python-hatchling

define MENDER_PYTHON_CLIENT_INSTALL_SCRIPTS
	mkdir -p $(TARGET_DIR)/usr/share/mender/identity $(TARGET_DIR)/usr/share/mender/inventory
	$(INSTALL) -m 0755 $(@D)/support/identity/* $(TARGET_DIR)/usr/share/mender/identity
	$(INSTALL) -m 0755 $(@D)/support/inventory/* $(TARGET_DIR)/usr/share/mender/inventory
endef
MENDER_PYTHON_CLIENT_POST_INSTALL_TARGET_HOOKS += MENDER_PYTHON_CLIENT_INSTALL_SCRIPTS

# support/install calls the init script by its own name, BusyBox by the link.
define MENDER_PYTHON_CLIENT_INSTALL_INIT_SYSV
	$(INSTALL) -D -m 0755 $(@D)/support/init/mender-python-client \
		$(TARGET_DIR)/etc/init.d/mender-python-client
	ln -sf mender-python-client $(TARGET_DIR)/etc/init.d/S80mender-python-client
	$(MENDER_PYTHON_CLIENT_SUB_UPDATER_INIT_SYSV)
endef

define MENDER_PYTHON_CLIENT_INSTALL_INIT_SYSTEMD
	$(INSTALL) -D -m 0644 $(@D)/support/systemd/mender-python-client.service \
		$(TARGET_DIR)/usr/lib/systemd/system/mender-python-client.service
	$(MENDER_PYTHON_CLIENT_SUB_UPDATER_INIT_SYSTEMD)
	$(MENDER_PYTHON_CLIENT_CONNECT_INIT_SYSTEMD)
	$(MENDER_PYTHON_CLIENT_DBUS_INIT_SYSTEMD)
	$(MENDER_PYTHON_CLIENT_GATEWAY_INIT_SYSTEMD)
endef

ifeq ($(BR2_PACKAGE_MENDER_PYTHON_CLIENT_SUB_UPDATER_AB),y)
define MENDER_PYTHON_CLIENT_INSTALL_SUB_UPDATER
	$(INSTALL) -m 0755 $(@D)/support/install $(@D)/support/modules/v3/rootfs-image \
		$(TARGET_DIR)/usr/share/mender
endef
MENDER_PYTHON_CLIENT_POST_INSTALL_TARGET_HOOKS += MENDER_PYTHON_CLIENT_INSTALL_SUB_UPDATER

define MENDER_PYTHON_CLIENT_SUB_UPDATER_INIT_SYSV
	$(INSTALL) -D -m 0755 $(@D)/support/init/mender-sub-updater \
		$(TARGET_DIR)/etc/init.d/mender-sub-updater
	ln -sf mender-sub-updater $(TARGET_DIR)/etc/init.d/S79mender-sub-updater
endef

define MENDER_PYTHON_CLIENT_SUB_UPDATER_INIT_SYSTEMD
	$(INSTALL) -D -m 0644 $(@D)/support/systemd/mender-sub-updater.service \
		$(TARGET_DIR)/usr/lib/systemd/system/mender-sub-updater.service
endef
endif

ifeq ($(BR2_PACKAGE_MENDER_PYTHON_CLIENT_CONNECT),y)
define MENDER_PYTHON_CLIENT_CONNECT_INIT_SYSTEMD
	$(INSTALL) -D -m 0644 $(@D)/support/systemd/mender-connect-python.service \
		$(TARGET_DIR)/usr/lib/systemd/system/mender-connect-python.service
endef
endif

ifeq ($(BR2_PACKAGE_MENDER_PYTHON_CLIENT_DBUS),y)
define MENDER_PYTHON_CLIENT_INSTALL_DBUS
	$(INSTALL) -D -m 0644 $(@D)/support/dbus/io.mender.AuthenticationManager.conf \
		$(TARGET_DIR)/usr/share/dbus-1/system.d/io.mender.AuthenticationManager.conf
	$(INSTALL) -D -m 0644 $(@D)/support/dbus/io.mender.AuthenticationManager.service \
		$(TARGET_DIR)/usr/share/dbus-1/system-services/io.mender.AuthenticationManager.service
endef
MENDER_PYTHON_CLIENT_POST_INSTALL_TARGET_HOOKS += MENDER_PYTHON_CLIENT_INSTALL_DBUS

define MENDER_PYTHON_CLIENT_DBUS_INIT_SYSTEMD
	$(INSTALL) -D -m 0644 $(@D)/support/systemd/mender-dbus-python.service \
		$(TARGET_DIR)/usr/lib/systemd/system/mender-dbus-python.service
endef
endif

ifeq ($(BR2_PACKAGE_MENDER_PYTHON_CLIENT_GATEWAY),y)
define MENDER_PYTHON_CLIENT_GATEWAY_INIT_SYSTEMD
	$(INSTALL) -D -m 0644 $(@D)/support/systemd/mender-gateway-python.service \
		$(TARGET_DIR)/usr/lib/systemd/system/mender-gateway-python.service
endef
endif

ifeq ($(BR2_PACKAGE_MENDER_PYTHON_CLIENT_MODULES),y)
define MENDER_PYTHON_CLIENT_INSTALL_MODULES
	mkdir -p $(TARGET_DIR)/usr/share/mender/modules/v3
	$(INSTALL) -m 0755 $(@D)/support/modules/v3/* $(TARGET_DIR)/usr/share/mender/modules/v3
	$(INSTALL) -D -m 0644 $(@D)/support/systemd/mender-configure-apply-device-config.service \
		$(TARGET_DIR)/usr/lib/systemd/system/mender-configure-apply-device-config.service
endef
MENDER_PYTHON_CLIENT_POST_INSTALL_TARGET_HOOKS += MENDER_PYTHON_CLIENT_INSTALL_MODULES
endif

$(eval $(python-package))
