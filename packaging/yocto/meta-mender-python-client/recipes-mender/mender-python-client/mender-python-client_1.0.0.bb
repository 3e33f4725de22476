# nooelint: oelint.var.mandatoryvar.HOMEPAGE - the project has no page of its own
SUMMARY = "Mender update client in Python"
DESCRIPTION = "Downloads updates from a Mender server, verifies them and passes them to a sub-updater that installs them."
SECTION = "base"
LICENSE = "Apache-2.0"
LIC_FILES_CHKSUM = "file://LICENSE;md5=3b83ef96387f14655fc854ddc3c6bd57"

PYPI_PACKAGE = "mender_python_client"

inherit pypi python_hatchling systemd update-rc.d

# of the sdist, from the release's SHA256SUMS; zeros until there is one
SRC_URI[sha256sum] = "0000000000000000000000000000000000000000000000000000000000000000"

SYSTEMD_PACKAGES = "${PN} ${PN}-connect ${PN}-dbus ${PN}-gateway ${PN}-sub-updater-ab"
SYSTEMD_SERVICE:${PN} = "mender-python-client.service"
SYSTEMD_SERVICE:${PN}-connect = "mender-connect-python.service"
SYSTEMD_SERVICE:${PN}-dbus = "mender-dbus-python.service"
SYSTEMD_SERVICE:${PN}-gateway = "mender-gateway-python.service"
SYSTEMD_SERVICE:${PN}-sub-updater-ab = "mender-sub-updater.service"

INITSCRIPT_PACKAGES = "${PN} ${PN}-sub-updater-ab"
INITSCRIPT_NAME:${PN} = "mender-python-client"
INITSCRIPT_PARAMS:${PN} = "defaults 80"
INITSCRIPT_NAME:${PN}-sub-updater-ab = "mender-sub-updater"
INITSCRIPT_PARAMS:${PN}-sub-updater-ab = "defaults 79"

do_install:append() {
    install -d ${D}${datadir}/mender/identity ${D}${datadir}/mender/inventory
    install -m 0755 ${S}/support/identity/* ${D}${datadir}/mender/identity
    install -m 0755 ${S}/support/inventory/* ${D}${datadir}/mender/inventory
    install -m 0755 ${S}/support/install ${S}/support/modules/v3/rootfs-image ${D}${datadir}/mender
    install -d ${D}${datadir}/mender/modules/v3
    install -m 0755 ${S}/support/modules/v3/* ${D}${datadir}/mender/modules/v3
    install -d ${D}${datadir}/dbus-1/system.d ${D}${datadir}/dbus-1/system-services
    install -m 0644 ${S}/support/dbus/*.conf ${D}${datadir}/dbus-1/system.d
    install -m 0644 ${S}/support/dbus/*.service ${D}${datadir}/dbus-1/system-services

    if ${@bb.utils.contains('DISTRO_FEATURES', 'systemd', 'true', 'false', d)}; then
        install -d ${D}${systemd_system_unitdir}
        install -m 0644 ${S}/support/systemd/mender-python-client.service ${D}${systemd_system_unitdir}
        install -m 0644 ${S}/support/systemd/mender-connect-python.service ${D}${systemd_system_unitdir}
        install -m 0644 ${S}/support/systemd/mender-dbus-python.service ${D}${systemd_system_unitdir}
        install -m 0644 ${S}/support/systemd/mender-gateway-python.service ${D}${systemd_system_unitdir}
        install -m 0644 ${S}/support/systemd/mender-sub-updater.service ${D}${systemd_system_unitdir}
        install -m 0644 ${S}/support/systemd/mender-configure-apply-device-config.service ${D}${systemd_system_unitdir}
    fi
    if ${@bb.utils.contains('DISTRO_FEATURES', 'sysvinit', 'true', 'false', d)}; then
        install -d ${D}${sysconfdir}/init.d
        install -m 0755 ${S}/support/init/mender-* ${D}${sysconfdir}/init.d
    fi
}

PACKAGES =+ "${PN}-connect ${PN}-dbus ${PN}-gateway ${PN}-sub-updater-ab ${PN}-modules ${PN}-completion"

FILES:${PN} += "${datadir}/mender/identity ${datadir}/mender/inventory"
FILES:${PN}-connect += "${systemd_system_unitdir}/mender-connect-python.service"
FILES:${PN}-dbus += "\
    ${datadir}/dbus-1 \
    ${systemd_system_unitdir}/mender-dbus-python.service \
"
FILES:${PN}-gateway += "${systemd_system_unitdir}/mender-gateway-python.service"
FILES:${PN}-sub-updater-ab += "\
    ${datadir}/mender/install \
    ${datadir}/mender/rootfs-image \
    ${sysconfdir}/init.d/mender-sub-updater \
    ${systemd_system_unitdir}/mender-sub-updater.service \
"
FILES:${PN}-modules += "\
    ${datadir}/mender/modules \
    ${systemd_system_unitdir}/mender-configure-apply-device-config.service \
"
FILES:${PN}-completion += "\
    ${datadir}/bash-completion \
    ${datadir}/fish \
    ${datadir}/zsh \
"

RDEPENDS:${PN} += "\
    openssl-bin \
    python3-compression \
    python3-core \
    python3-crypt \
    python3-datetime \
    python3-difflib \
    python3-email \
    python3-fcntl \
    python3-io \
    python3-json \
    python3-logging \
    python3-math \
    python3-netclient \
    python3-shell \
    python3-syslog \
    python3-threading \
"
# wsproto is in meta-python
RDEPENDS:${PN}-connect += "\
    ${PN} \
    python3-ctypes \
    python3-unixadmin \
    ${@bb.utils.contains('BBFILE_COLLECTIONS', 'meta-python', 'python3-wsproto', '', d)} \
"
# jeepney is in meta-python
RDEPENDS:${PN}-dbus += "\
    ${PN} \
    dbus \
    ${@bb.utils.contains('BBFILE_COLLECTIONS', 'meta-python', 'python3-jeepney', '', d)} \
"
RDEPENDS:${PN}-gateway += "${PN}"
RDEPENDS:${PN}-sub-updater-ab += "${PN}"
RDEPENDS:${PN}-modules += "${PN}"
# zoneinfo, and the time zones of the device (tzdata), are for windows of UpdateGates and DownloadSpeedLimit
RRECOMMENDS:${PN} += "ca-certificates python3-zoneinfo"
