package ef

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// USIMService is the number of a service of a USIM, from 1 (TS 31.102, 4.2.8); in
// a document it is "27 gsm_access", and "27" does to write one.
type USIMService int

// MarshalText gives the number and the name.
func (s USIMService) MarshalText() ([]byte, error) { return serviceText(int(s), usimServices()), nil }

// UnmarshalText reads a number, and checks the name if there is one.
func (s *USIMService) UnmarshalText(text []byte) error {
	n, err := parseService(string(text), usimServices())
	*s = USIMService(n)
	return err
}

// ISIMService is the number of a service of an ISIM, from 1 (TS 31.103, 4.2.7); in
// a document it is "1 p_cscf_address".
type ISIMService int

// MarshalText gives the number and the name.
func (s ISIMService) MarshalText() ([]byte, error) { return serviceText(int(s), isimServices()), nil }

// UnmarshalText reads a number, and checks the name if there is one.
func (s *ISIMService) UnmarshalText(text []byte) error {
	n, err := parseService(string(text), isimServices())
	*s = ISIMService(n)
	return err
}

func serviceText(n int, names []string) []byte {
	if n < 1 || n > len(names) || names[n-1] == "-" {
		return strconv.AppendInt(nil, int64(n), 10)
	}
	return fmt.Appendf(nil, "%d %s", n, names[n-1])
}

func parseService(s string, names []string) (int, error) {
	number, name, named := strings.Cut(s, " ")
	n, err := strconv.Atoi(number)
	if err != nil || named && (n < 1 || n > len(names) || names[n-1] != name) {
		return 0, fmt.Errorf("%w: service %q, want its number, alone or with its name", ErrContent, s)
	}
	return n, nil
}

// Services is EF.UST (TS 31.102, 4.2.8): the services that are available.
type Services struct {
	Services []USIMService `json:"services"`
}

// Has reports whether the service is available.
func (v *Services) Has(service USIMService) bool { return slices.Contains(v.Services, service) }

func (v *Services) fields(c *coder) { services(c, &v.Services) }

// ISIMServices is EF.IST (TS 31.103, 4.2.7): the services that are available.
type ISIMServices struct {
	Services []ISIMService `json:"services"`
}

// Has reports whether the service is available.
func (v *ISIMServices) Has(service ISIMService) bool { return slices.Contains(v.Services, service) }

func (v *ISIMServices) fields(c *coder) { services(c, &v.Services) }

// services is a table up to the end: bit 1 of byte 1 is service 1.
func services[T ~int](c *coder, p *[]T) {
	if c.writing {
		b := make([]byte, c.left())
		for _, service := range *p {
			s := int(service)
			if s < 1 || s > 8*len(b) {
				c.fail("service %d: a table of %d bytes has 1 to %d", s, len(b), 8*len(b))
				return
			}
			b[(s-1)/8] |= 1 << ((s - 1) % 8)
		}
		c.put(b...)
		return
	}
	*p = []T{}
	for i, b := range c.take(len(c.in)) {
		for bit := range 8 {
			if b>>bit&1 != 0 {
				*p = append(*p, T(8*i+bit+1))
			}
		}
	}
}

// usimServices are the names of the services from 1 on, "-" where there is none.
func usimServices() []string {
	return strings.Fields(`
local_phone_book fdn extension_2 sdn extension_3 bdn extension_4 outgoing_call_information
incoming_call_information sms_storage sms_status_reports sms_parameters advice_of_charge
capability_configuration_2 cell_broadcast_identifiers cell_broadcast_ranges group_identifier_1
group_identifier_2 service_provider_name user_plmn_selector
msisdn image localised_service_areas emlpp automatic_answer_emlpp - gsm_access sms_pp_data_download
sms_cb_data_download call_control
mo_sms_control run_at_command - enabled_services_table apn_control_list depersonalisation_keys
cooperative_networks gsm_security_context cpbcch_information investigation_scan
mexe operator_plmn_selector home_plmn_selector extension_5 plmn_network_name operator_plmn_list
mailbox_numbers message_waiting_status call_forwarding_status -
provider_display_information mms extension_8 call_control_gprs mms_user_connectivity
network_alerting_indication vgcs_groups vbs_groups pseudonym user_plmn_selector_wlan
operator_plmn_selector_wlan user_wsid_list operator_wsid_list vgcs_security vbs_security
wlan_reauthentication mms_storage gba mbms_security ussd_data_download
equivalent_home_plmn additional_terminal_profile equivalent_home_presentation last_rplmn_selection
oma_bcast gba_local_key terminal_applications provider_name_icon network_name_icon usim_ip_connectivity
home_wsid_list wlan_equivalent_home_presentation wlan_home_priority wlan_last_registered_plmn
eps_mobility_information allowed_csg_lists call_control_eps home_plmn_direct_access ecall_data
operator_csg_lists
sm_over_ip csg_display_control communication_control_ims extended_terminal_applications uicc_ims_access
nas_configuration pws_configuration - uri_support extended_earfcn
prose usat_application_pairing media_type ims_disconnection_cause uri_mo_sms_control epdg_supported
epdg_configured acdc mcptt epdg_emergency_supported
epdg_emergency_configured ecall_over_ims uri_sms_pp_download from_preferred ims_configuration
tv_configuration ps_data_off ps_data_off_services v2x xcap_configuration
earfcn_list 5gs_mobility_information 5g_security_parameters subscription_privacy suci_by_usim
uac_access_identities steering_of_roaming_expected call_control_pdu_session operator_plmn_list_5gs
supi_nsi_gli_gci
ps_data_off_home_and_roaming ursp 5g_security_parameters_extended mud_mid_configuration
trusted_non_3gpp_access multiple_nas_contexts cag_information sor_cmci 5g_prose disaster_roaming
edrx_parameters 5g_nswo pws_snpn satellite_search_multiplier kausf_derivation snpn_network_identifier`)
}

// isimServices are the names of the services from 1 on.
func isimServices() []string {
	return strings.Fields(`
p_cscf_address gba http_digest gba_local_key p_cscf_discovery sms_storage sms_status_reports sm_over_ip
communication_control_ims uicc_ims_access uri_support media_type ims_disconnection_cause
uri_mo_sms_control mcptt uri_sms_pp_download from_preferred ims_configuration xcap_configuration
webrtc_uri mud_mid_configuration ims_data_channel`)
}
