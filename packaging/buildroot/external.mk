include $(sort $(wildcard $(BR2_EXTERNAL_MENDER_PYTHON_CLIENT_PATH)/package/*/*.mk))
