{{/* Names and labels, and how values of components are found. */}}

{{- define "relay-gateway.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* At most 40 characters, so that the longest suffix fits into 63. */}}
{{- define "relay-gateway.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels that select all pods of the release. */}}
{{- define "relay-gateway.instanceLabels" -}}
app.kubernetes.io/name: {{ include "relay-gateway.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* All labels of an object: (list $ COMPONENT); COMPONENT may be empty. */}}
{{- define "relay-gateway.labels" -}}
{{- $ := index . 0 -}}
{{ include "relay-gateway.instanceLabels" $ }}
{{- with index . 1 }}
app.kubernetes.io/component: {{ . }}
{{- end }}
app.kubernetes.io/version: {{ $.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $.Chart.Name $.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Labels that select the pods of a component: (list $ COMPONENT). */}}
{{- define "relay-gateway.selector" -}}
{{ include "relay-gateway.instanceLabels" (index . 0) }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* The components that have pods, divided by spaces. */}}
{{- define "relay-gateway.components" -}}
{{- if eq .Values.mode "single" -}}single{{- else -}}poweb collection pohttp cogrpc worker ops{{- end -}}
{{- end -}}

{{/* One map laid over another, key by key; unlike Sprig's merge, false, 0 and "" count: (list BASE OVER), as YAML. */}}
{{- define "relay-gateway.overlay" -}}
{{- $result := deepCopy (index . 0) -}}
{{- range $key, $value := index . 1 -}}
{{- if and (kindIs "map" $value) (kindIs "map" (get $result $key)) -}}
{{- $_ := set $result $key (fromYaml (include "relay-gateway.overlay" (list (get $result $key) $value))) -}}
{{- else -}}
{{- $_ := set $result $key $value -}}
{{- end -}}
{{- end -}}
{{ toYaml $result }}
{{- end -}}

{{/* The values of a component, those of all pods beneath: (list $ COMPONENT), as YAML. */}}
{{- define "relay-gateway.component" -}}
{{- $ := index . 0 -}}
{{- include "relay-gateway.overlay" (list $.Values.pods (get $.Values.components (index . 1))) -}}
{{- end -}}

{{/* A setting as the environment has it: numbers without exponents. */}}
{{- define "relay-gateway.text" -}}
{{- if kindIs "float64" . }}{{ printf "%.0f" . }}{{ else }}{{ toString . }}{{ end -}}
{{- end -}}

{{/* The settings that all pods share, as YAML: variable to text. */}}
{{- define "relay-gateway.settings" -}}
{{- $settings := dict "BIND_HOST" "0.0.0.0" "OPS_BIND_HOST" "0.0.0.0" "DATA_DIR" "/data" -}}
{{- range $door, $port := fromYaml (include "relay-gateway.ports" .) -}}
{{- if ne $door "collection" -}}
{{- $_ := set $settings (printf "%s_PORT" (upper $door)) (toString $port) -}}
{{- end -}}
{{- end -}}
{{- if eq .Values.mode "split" -}}
{{- $settings = merge $settings (dict "OBJECT_STORE" "gcs" "RECORDS" "firestore" "KEYS" "gcp-kms" "SIGNALS" "redis") -}}
{{- end -}}
{{- if eq .Values.exposure.kind "gke" -}}
{{- $_ := set $settings "TRUSTED_PROXIES" "130.211.0.0/22,35.191.0.0/16" -}}
{{- /* What Google Cloud Logging shows as a line's text. */ -}}
{{- $_ := set $settings "LOG_MESSAGE_KEY" "message" -}}
{{- end -}}
{{- if .Values.gateway.tls.secretName -}}
{{- $settings = merge $settings (dict "TLS_CERT_FILE" "/tls/tls.crt" "TLS_KEY_FILE" "/tls/tls.key") -}}
{{- end -}}
{{- range $variable, $value := .Values.gateway.settings -}}
{{- $_ := set $settings $variable (include "relay-gateway.text" $value) -}}
{{- end -}}
{{ toYaml $settings }}
{{- end -}}

{{/* Where the doors listen in every pod. */}}
{{- define "relay-gateway.ports" -}}
poweb: 8080
collection: 8080
pohttp: 8081
cogrpc: 8082
ops: 8090
{{- end -}}

{{/* The component whose pods have a door: (list $ DOOR). */}}
{{- define "relay-gateway.componentOf" -}}
{{- if eq (index . 0).Values.mode "single" -}}single{{- else -}}{{ index . 1 }}{{- end -}}
{{- end -}}

{{/* The volume with the stores, for a command that runs beside the one pod; empty where there are many. */}}
{{- define "relay-gateway.claim" -}}
{{- if eq .Values.mode "single" -}}
{{- default (printf "data-%s-0" (include "relay-gateway.fullname" .)) .Values.components.single.persistence.existingClaim -}}
{{- end -}}
{{- end -}}

{{- define "relay-gateway.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ printf "%s@%s" .repository .digest }}
{{- else -}}
{{ printf "%s:%s" .repository (default $.Chart.AppVersion .tag) }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The name of a service account: (list $ VALUES COMPONENT). */}}
{{- define "relay-gateway.serviceAccountName" -}}
{{- $account := index . 1 -}}
{{- if $account.create -}}
{{- default (printf "%s-%s" (include "relay-gateway.fullname" (index . 0)) (index . 2)) $account.name -}}
{{- else -}}
{{- default "default" $account.name -}}
{{- end -}}
{{- end -}}

{{/*
What changes when a Secret that pods read does, so that an upgrade restarts them: its version, not a digest of what is in
it, which could be guessed. Empty where there is no cluster to ask.
*/}}
{{- define "relay-gateway.secretVersions" -}}
{{- range $variable, $reference := .Values.gateway.secrets -}}
{{- with lookup "v1" "Secret" $.Release.Namespace $reference.name -}}
{{ printf "%s=%s;" $variable .metadata.resourceVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Where the doctor finds a door: (list $ DOOR). */}}
{{- define "relay-gateway.doorUrl" -}}
{{- $ := index . 0 -}}
{{- $door := index . 1 -}}
{{- $url := get $.Values.doctor.urls $door -}}
{{- if $url -}}
{{ $url }}
{{- else if $.Values.gateway.tls.secretName -}}
{{- /* The certificate names the public host. */ -}}
https://{{ get $.Values.exposure.hosts (ternary "poweb" $door (eq $door "collection")) }}
{{- else -}}
http://{{ include "relay-gateway.fullname" $ }}-{{ $door }}:{{ (get $.Values.components $door).service.port }}
{{- end -}}
{{- end -}}
