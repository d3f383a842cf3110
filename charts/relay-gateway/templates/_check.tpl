{{/* Faults between values that are each fine; the schema finds the others. */}}
{{- define "relay-gateway.check" -}}
{{- $settings := fromYaml (include "relay-gateway.settings" .) -}}
{{- $secrets := .Values.gateway.secrets -}}
{{- $faults := list -}}
{{- if not $settings.INTERNET_ADDRESS -}}
{{- $faults = append $faults "gateway.settings.INTERNET_ADDRESS must be set: the domain name by which clients know this gateway for good" -}}
{{- end -}}
{{- $given := dict "gateway.settings" .Values.gateway.settings "pods.settings" .Values.pods.settings -}}
{{- range $name, $component := .Values.components -}}
{{- $_ := set $given (printf "components.%s.settings" $name) (default dict $component.settings) -}}
{{- end -}}
{{- $secret := list "REDIS_URL" "OTEL_EXPORTER_OTLP_HEADERS" -}}
{{- $ours := splitList " " "SERVICES BIND_HOST OPS_BIND_HOST POWEB_PORT POHTTP_PORT COGRPC_PORT OPS_PORT DATA_DIR TLS_CERT_FILE TLS_KEY_FILE STOP_LEAD GRACE_PERIOD" -}}
{{- range $place, $variables := $given -}}
{{- range $variable := keys $variables | sortAlpha -}}
{{- if has $variable $secret -}}
{{- $faults = append $faults (printf "%s.%s is secret: put it into a Secret, and name that in gateway.secrets" $place $variable) -}}
{{- else if has $variable $ours -}}
{{- $faults = append $faults (printf "%s.%s is the chart's to set" $place $variable) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (eq $settings.OBJECT_STORE "gcs") (not $settings.GCS_BUCKET) -}}
{{- $faults = append $faults "gateway.settings.GCS_BUCKET must be set where messages are in Cloud Storage" -}}
{{- end -}}
{{- if and (eq $settings.RECORDS "firestore") (not $settings.GCP_PROJECT) -}}
{{- $faults = append $faults "gateway.settings.GCP_PROJECT must be set where records are in Firestore" -}}
{{- end -}}
{{- if and (eq $settings.KEYS "gcp-kms") (not $settings.KMS_KEY_RING) -}}
{{- $faults = append $faults "gateway.settings.KMS_KEY_RING must be set where keys are in Cloud KMS" -}}
{{- end -}}
{{- if and (eq $settings.SIGNALS "redis") (not $secrets.REDIS_URL) -}}
{{- $faults = append $faults "gateway.secrets.REDIS_URL must name the Secret with Redis' URL where pods tell each other by Redis" -}}
{{- end -}}
{{- if eq .Values.mode "split" -}}
{{- range $variable, $value := dict "OBJECT_STORE" "gcs" "RECORDS" "firestore" "KEYS" "gcp-kms" "SIGNALS" "redis" -}}
{{- if ne (get $settings $variable) $value -}}
{{- $faults = append $faults (printf "gateway.settings.%s must be %s in mode split: what pods share cannot be in one of them" $variable $value) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if ne .Values.exposure.kind "none" -}}
{{- range $door := list "poweb" "pohttp" "cogrpc" -}}
{{- if not (get $.Values.exposure.hosts $door) -}}
{{- $faults = append $faults (printf "exposure.hosts.%s must be set where the gateway is exposed" $door) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (eq .Values.exposure.kind "gke") (not .Values.gateway.tls.secretName) -}}
{{- $faults = append $faults "gateway.tls.secretName must be set: Google's load balancer speaks HTTP/2, which couriers need, only to pods with TLS" -}}
{{- end -}}
{{- if and (eq .Values.exposure.kind "gatewayApi") (not .Values.exposure.gatewayApi.parentRefs) -}}
{{- $faults = append $faults "exposure.gatewayApi.parentRefs must name the Gateway" -}}
{{- end -}}
{{- if .Values.backup.schedule -}}
{{- if not .Values.backup.to -}}
{{- $faults = append $faults "backup.to must name a place in a bucket, such as gs://relay-backups/" -}}
{{- end -}}
{{- if not $settings.RECOVERY_PUBLIC_KEY -}}
{{- $faults = append $faults "gateway.settings.RECOVERY_PUBLIC_KEY must be set where there are backups: relay-gateway recovery-key new makes one" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.restore.from (not .Values.restore.recoveryKeySecret) -}}
{{- $faults = append $faults "restore.recoveryKeySecret must name the Secret with recovery.key in it" -}}
{{- end -}}
{{- if $faults -}}
{{- fail (printf "\n\nThese values cannot be used:\n  %s\n" (join "\n  " $faults)) -}}
{{- end -}}
{{- end -}}
